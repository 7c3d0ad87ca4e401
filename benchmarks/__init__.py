"""Side-by-side measurements, one command each, printing ratios; each docstring names its command."""

"""Figures from what training and evaluation return: matplotlib for looking, plotly for exploring; saves nothing.

Titles and names are shown as they are (`parse_math=False`): two dollar signs in a name would make it a formula.
Nothing is imported here: seaborn and matplotlib take a second, and `compare` needs neither.
"""

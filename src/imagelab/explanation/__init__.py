"""What a network looked at: network and images in, maps out."""

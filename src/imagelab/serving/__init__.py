"""What answers: the model that is logged and the server that follows an alias."""

"""What answers: the model that is logged, the server that follows an alias, and batch scoring."""

"""Several finished networks of one data set as one: which go together, their run, how it stands beside them."""

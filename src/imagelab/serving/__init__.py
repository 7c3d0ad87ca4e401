"""Serves a registered model: the server that follows an alias, and the model that is logged.

server.py             the command `serve`: address, workers, start and end
app.py                the web application: paths, limits, token, health
protocol.py           a request's body to its response, in MLflow's formats
alias_watcher.py      loads the version behind the alias, and the next one when the alias moves
served_version.py     a version that answers
served_model.py       what is stored with each model: images in, labels and probabilities out
dynamic_batching.py   requests that arrive together go through the network together
prometheus.py, workers.py, page.html
"""

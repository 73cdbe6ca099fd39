"""The app of ways.py as Flask's own server starts it: `flask --app ways_flask run`."""

import ways
from flask import Flask

app = Flask(__name__)
app.wsgi_app = ways.wsgi

"""The lecture's service: says hello, and says who is speaking."""
import os
import socket

from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello():
    return f"hello from {socket.gethostname()} on {os.environ.get('MACHINE', 'one machine')}\n"

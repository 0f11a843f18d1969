"""Exit with code 0 if the server in this container answers on /health. Proxy variables are not used."""

import os
import sys
from http.client import HTTPConnection

connection = HTTPConnection("127.0.0.1", int(os.environ["CLAUDE_OPENAI_PORT"]), timeout=4)
connection.request("GET", "/health")
sys.exit(connection.getresponse().status != 200)

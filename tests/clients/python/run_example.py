"""Runs a test with pytest in the environment of a client, which lacks this project: SITE-PACKAGES TEST.

The packages of the client are found first, then those of the project's environment.
"""

import site
import sys

site.addsitedir(sys.argv[1])

import pytest

options = ["-c", "/dev/null", "--rootdir", ".", "-p", "no:cacheprovider", "--disable-plugin-autoload"]
sys.exit(pytest.main([*options, sys.argv[2]]))

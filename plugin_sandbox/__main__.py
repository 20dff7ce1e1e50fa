"""`python -m plugin_sandbox run | doctor | attack`: the sandbox alone, from a shell."""

import sys

from plugin_sandbox.command import main

sys.exit(main(sys.argv[1:]))

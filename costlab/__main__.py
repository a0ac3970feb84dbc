"""`python -m costlab` is `costlab`."""

from costlab.cli import main

if __name__ == "__main__":
    main()

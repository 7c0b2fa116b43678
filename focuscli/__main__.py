"""`python -m focuscli` is `focus`."""

from focuscli.cli.app import main

if __name__ == "__main__":
    main()

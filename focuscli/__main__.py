"""`python -m focuscli` is `focus`."""

from focuscli.cli.main import main

if __name__ == "__main__":
    main()

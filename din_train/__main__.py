"""`python -m din_train` is the `din-train` command."""

from din_train.cli import main

if __name__ == "__main__":
    main()

"""`python -m joulegrid …`: the same as the command `joulegrid`."""

from joulegrid.jobs.cli import main

if __name__ == "__main__":
    main()

"""`focus reproduce`: the tables of the paper as planned runs, executed and laid beside what is published."""

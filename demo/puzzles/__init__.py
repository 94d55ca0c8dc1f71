"""Block-moving puzzles made here, in the form of the user's own data set."""

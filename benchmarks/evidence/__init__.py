"""Small experiments that ask whether published findings about compression hold here: real runs, seeds, means and spreads."""

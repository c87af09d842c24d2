"""Real recipes trained for a few steps on the GPU at hand, beside what their plans foretold."""

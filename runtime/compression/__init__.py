"""What makes a trained model smaller: thin factors, rounded numbers, removed structures, and the files it is shipped in."""

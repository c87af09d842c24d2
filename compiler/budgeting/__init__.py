"""What a recipe's budget means: which law, who serves at what price, what is aimed at. For passes/targets.py and budget.py."""

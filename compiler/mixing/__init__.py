"""The mixture over time: knots, transitions in pieces, domain upsampling, limits of sources. For passes/data.py, estimate.py."""

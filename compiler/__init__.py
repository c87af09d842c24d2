"""Recipe -> checked plan -> job folder. Needs no torch: everything here runs on a laptop in well under a second."""

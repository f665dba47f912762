"""Files written so that a kill loses nothing, and files from elsewhere read within bounds."""

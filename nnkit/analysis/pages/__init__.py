"""What pages on runs share: sections, the look of their figures, and the HTML that needs no network."""

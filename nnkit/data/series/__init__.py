"""Time series: windows of the past with the steps that follow them."""

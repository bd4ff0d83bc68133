"""The registry around the requests: what was decided about versions, when and by whom."""

"""What the files in the directory of a run are called."""

RECORD = "run.json"
CONFIG = "config.yaml"
PREPROCESSING = "preprocessing.json"
METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"
LOG = "train.log"
PROFILE = "profile.txt"

"""README: one JSON file a training run, `<run>-seed<k>.json`; `bench train` writes, `training_records` reads."""

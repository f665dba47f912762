"""The short run that is killed, damaged and moved."""

# Shuffling, dropout and a schedule that moves every step: without them a fault of resume is not seen. The rate is so
# low that the first validation stays the best.
SHORT_RUN = [
    "data=iris",
    "data.val_fraction=0.2",
    "data.batch_size=20",
    "model=mlp",
    "model.hidden=[8]",
    "model.dropout=0.2",
    "optimizer.lr=1e-5",
    "trainer.max_epochs=2",
    "trainer.num_threads=1",
    "trainer.log_every_n_steps=2",
    "callbacks=[checkpoint]",
    "callbacks.checkpoint.every_n_steps=2",
    "logger=[]",
]

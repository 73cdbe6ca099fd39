"""gunicorn's settings for workers that start after the restore: each says what has run in it once it is up to date."""

import late

import snapext


def post_worker_init(_worker):
    if snapext.status().generation > 0:
        late.settle()

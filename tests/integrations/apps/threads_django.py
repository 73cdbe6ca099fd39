"""Django and SQLAlchemy in threads that serve; it never mentions snapext. `threads_django:application`."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import JsonResponse
from django.urls import re_path
from sqlalchemy import create_engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

PORT = os.environ["POSTGRES_PORT"]
settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="only a test",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "postgres",
            "HOST": "127.0.0.1",
            "PORT": PORT,
            "OPTIONS": {"application_name": "life"},
            "CONN_MAX_AGE": None,  # each thread keeps its connection
        }
    },
)
sessions = scoped_session(
    sessionmaker(create_engine(f"postgresql+psycopg2://postgres@127.0.0.1:{PORT}/postgres?application_name=life"))
)


def pids():
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("select pg_backend_pid()")
        (of_django,) = cursor.fetchone()
    return [
        of_django,
        sessions.scalar(text("select pg_backend_pid()")),
    ]  # and no remove(): each thread keeps its session


both = Barrier(2)
threads = ThreadPoolExecutor(2)


def of_both_threads():
    return [pid for _, found in threads.map(lambda _: (both.wait(20), pids()), range(2)) for pid in found]


def answer(_request):
    return JsonResponse({"worker": os.getpid(), "pids": pids() + of_both_threads()})


urlpatterns = [re_path("", answer)]
application = get_wsgi_application()
of_both_threads()  # in each worker, whichever is asked whether it is ready

"""Django's settings for the app of ways.py, which runserver imports only where it serves."""

ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = __name__
SECRET_KEY = "only a test"
WSGI_APPLICATION = "ways.wsgi"
urlpatterns = []

"""Django settings, made from the environment (see `.env.example`). One file, in sections."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from directdrivex import env
from directdrivex.env import MIB

BASE_DIR = Path(__file__).resolve().parent.parent
env.load_dotenv(BASE_DIR / ".env")

# --- Where we are -----------------------------------------------------------------------------------------------

ENVIRONMENT = env.choice("ENVIRONMENT", ("development", "staging", "production"), "development")
DEVELOPMENT = ENVIRONMENT == "development"
DEBUG = False  # tracebacks go to the log under a reference, never to a visitor
DATA_DIR = Path(env.text("DATA_DIR") or BASE_DIR / "var").absolute()
try:
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)  # files, sessions, keys: nobody else's on this machine
except OSError as error:
    raise ImproperlyConfigured(f"DATA_DIR is {DATA_DIR}, which cannot be made: {error.strerror}.") from None
PUBLIC_URL = env.origin("PUBLIC_URL")

HOST = env.text("HOST", "127.0.0.1")
PORT = env.integer("PORT", 8000, least=0, most=65535)
SERVER = env.choice("SERVER", ("uvicorn", "daphne"), "uvicorn")
WORKERS = env.integer("WORKERS", 1, least=1, most=256)

# --- Secrets and hosts ------------------------------------------------------------------------------------------

SECRET_KEY = env.text("SECRET_KEY")
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS")
if ENVIRONMENT == "production" and not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY is missing; production needs one, at least 50 random characters.")
if ENVIRONMENT == "production" and not ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS is missing; name the host names that people use, separated by commas.")
if not SECRET_KEY:
    SECRET_KEY = env.kept_secret(DATA_DIR / "secret_key")
if not ALLOWED_HOSTS:
    # A server that listens on loopback answers to loopback's names alone: another name that leads here is an attack
    # on the person who runs it (DNS rebinding). In development on a real interface any name may be meant.
    everywhere = DEVELOPMENT and HOST not in ("localhost", "127.0.0.1", "::1")
    ALLOWED_HOSTS = ["*"] if everywhere else [".localhost", "127.0.0.1", "[::1]"]
if PUBLIC_URL:
    ALLOWED_HOSTS.append(str(urlsplit(PUBLIC_URL).hostname))

# What seals the secrets that the database keeps, the newest key first (uploads/secrets.py).
SECRETS_KEYS = env.items("SECRETS_KEY")
SECRETS_KEY_IS_DERIVED = not SECRETS_KEYS
if SECRETS_KEY_IS_DERIVED:
    SECRETS_KEYS = [SECRET_KEY]  # in development; elsewhere a system check refuses to keep secrets by it

# How often one person may announce files, open sockets, and ask for anything at all; None: as often as they like.
_usual_rate = None if DEVELOPMENT else 600
RATE_INITIATE_PER_MINUTE = env.integer("RATE_INITIATE_PER_MINUTE", _usual_rate, least=1, most=100_000)
RATE_CONNECT_PER_MINUTE = env.integer("RATE_CONNECT_PER_MINUTE", _usual_rate, least=1, most=100_000)
RATE_REQUESTS_PER_MINUTE = env.integer(
    "RATE_REQUESTS_PER_MINUTE", None if DEVELOPMENT else 6000, least=1, most=1_000_000
)
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES")
ADMIN_EMAIL = env.text("ADMIN_EMAIL")
ADMIN_PASSWORD = env.text("ADMIN_PASSWORD")
METRICS_TOKEN = env.text("METRICS_TOKEN")

# --- Uploads ----------------------------------------------------------------------------------------------------

STORAGE = env.choice("STORAGE", ("local", "gdrive"), "local")
# daphne refuses WebSocket messages above 1 MiB, so that a larger chunk is announced only where the server takes it.
UPLOAD_CHUNK_BYTES = env.integer(
    "UPLOAD_CHUNK_BYTES", MIB, least=64 * 1024, most=MIB if SERVER == "daphne" else 16 * MIB
)
UPLOAD_WINDOW_BYTES = env.integer("UPLOAD_WINDOW_BYTES", 8 * MIB, least=128 * 1024, most=1024 * MIB)
if UPLOAD_CHUNK_BYTES * 2 > UPLOAD_WINDOW_BYTES:
    raise ImproperlyConfigured("UPLOAD_CHUNK_BYTES must be at most half of UPLOAD_WINDOW_BYTES.")
UPLOAD_BUFFER_BYTES = env.integer("UPLOAD_BUFFER_BYTES", least=UPLOAD_WINDOW_BYTES)  # None: by server size
UPLOAD_IDLE_SECONDS = env.integer("UPLOAD_IDLE_SECONDS", 60, least=1, most=86_400)
UPLOAD_EXPIRES_HOURS = env.integer("UPLOAD_EXPIRES_HOURS", 24, least=1, most=87_600)
FILE_RETENTION_DAYS = env.integer("FILE_RETENTION_DAYS", least=1, most=36_500)  # None: kept
SLOT_LEASE_SECONDS = env.integer("SLOT_LEASE_SECONDS", 30, least=6, most=86_400)
UPLOAD_START_SECONDS = 10  # wire.md: the client says `start` within this time
DISCONNECT_GRACE_SECONDS = 15  # wire.md: a lost connection keeps its slot or place this long
# Free space on the storage's disk that uploads never use, so that the machine stays able to log and to recover.
LOCAL_FREE_SPACE_FLOOR_BYTES = 512 * MIB

# --- Downloads --------------------------------------------------------------------------------------------------

# How many stream at once in each process; whoever comes beyond waits a moment (uploads/delivery/line.py).
MAX_CONCURRENT_DOWNLOADS = env.integer("MAX_CONCURRENT_DOWNLOADS", 200, least=1, most=100_000)
MAX_CONCURRENT_DOWNLOADS_PER_USER = env.integer("MAX_CONCURRENT_DOWNLOADS_PER_USER", 32, least=1, most=100_000)
# Who sends what lies on local disk: the program, or the nginx in front of it (uploads/delivery/accel.py).
DOWNLOAD_ACCEL = env.choice("DOWNLOAD_ACCEL", ("off", "nginx"), "off")

# --- Google Drive -----------------------------------------------------------------------------------------------

EMULATOR_PORT = env.integer("EMULATOR_PORT", 8090, least=0, most=65535)
# What makes the account `env` where it is missing (uploads/drive_accounts.py).
GDRIVE_ENV = {
    "client_id": env.text("GDRIVE_CLIENT_ID"),
    "client_secret": env.text("GDRIVE_CLIENT_SECRET"),
    "refresh_token": env.text("GDRIVE_REFRESH_TOKEN"),
    "service_account_file": env.text("GDRIVE_SERVICE_ACCOUNT_FILE"),
}
GDRIVE_FOLDER_ID = env.text("GDRIVE_FOLDER_ID")
# A trial: while nothing of Google's is named in development, Drive is the emulator (`make emulator`).
GDRIVE_TRIAL = DEVELOPMENT and not any(GDRIVE_ENV.values()) and not env.text("GDRIVE_API_ROOT")
_emulator = f"http://127.0.0.1:{EMULATOR_PORT}"
GDRIVE_API_ROOT = env.confidential_url("GDRIVE_API_ROOT", _emulator if GDRIVE_TRIAL else "https://www.googleapis.com")
_of_google = urlsplit(GDRIVE_API_ROOT).hostname == "www.googleapis.com"
GDRIVE_TOKEN_URL = env.confidential_url(
    "GDRIVE_TOKEN_URL", "https://oauth2.googleapis.com/token" if _of_google else f"{GDRIVE_API_ROOT}/token"
)
GDRIVE_CONSENT_URL = env.confidential_url(
    "GDRIVE_CONSENT_URL",
    "https://accounts.google.com/o/oauth2/v2/auth" if _of_google else f"{GDRIVE_API_ROOT}/o/oauth2/v2/auth",
)

# What the environment says wins over the profile in the database; None lets the profile decide.
LIMIT_OVERRIDES = {
    "limits_enforced": env.boolean("ENABLE_UPLOAD_LIMITS"),
    "max_memory_percent": env.integer("MAX_MEMORY_PERCENT", least=1, most=100),
    "reserved_memory_bytes": env.integer("RESERVED_MEMORY_BYTES"),
    "max_concurrent_uploads": env.integer("MAX_CONCURRENT_UPLOADS", least=1, most=100_000),
    "max_concurrent_uploads_per_user": env.integer("MAX_CONCURRENT_UPLOADS_PER_USER", least=1, most=100_000),
    "max_queued_uploads": env.integer("MAX_QUEUED_UPLOADS", least=0, most=1_000_000),
}

# --- Django -----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "directdrivex.apps.DaphneConfig",  # first, so that `runserver` is daphne's and speaks WebSocket
    "directdrivex.apps.DirectDriveXConfig",
    "directdrivex.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic.runserver_nostatic",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "directdrivex.apps.SignInsConfig",
    "ninja",
    "django_structlog",
    "quotas",
    "uploads",
    "monitoring",
]

MIDDLEWARE = [
    "uploads.problems.problem_middleware",  # outermost: it sees every error page
    "directdrivex.middleware.SecurityMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "directdrivex.middleware.CSPMiddleware",
    "directdrivex.middleware.SessionMiddleware",
    "directdrivex.middleware.LocaleMiddleware",
    "directdrivex.middleware.CommonMiddleware",
    "directdrivex.middleware.CsrfViewMiddleware",
    "directdrivex.middleware.AuthenticationMiddleware",
    "directdrivex.middleware.MessageMiddleware",
    "directdrivex.middleware.XFrameOptionsMiddleware",
    "django_structlog.middlewares.RequestMiddleware",  # it writes: a log may have to be waited for
    "uploads.gate.doors_middleware",  # behind what knows language and session, before everything that answers
    "uploads.people.visitor_middleware",
    "axes.middleware.AxesMiddleware",
]

# They look for Django's own middlewares by name, and would not find those that are made of them. For the same reason
# those say nothing that look at what these are told to do: SECURE_…, X_FRAME_OPTIONS, CSRF_COOKIE_SECURE.
SILENCED_SYSTEM_CHECKS = ["security.W001", "security.W002", "security.W003"]

ROOT_URLCONF = "directdrivex.urls"
ASGI_APPLICATION = "directdrivex.asgi.application"
APPEND_SLASH = False  # one address for one thing; the wire contract has no trailing slashes

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- Stores -----------------------------------------------------------------------------------------------------

DATABASES = {"default": env.database("DATABASE_URL", f"sqlite:///{DATA_DIR / 'directdrivex.sqlite3'}")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Django's own engines, with bounded patience while the server runs: directdrivex/databases.
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["ENGINE"] = "directdrivex.databases.sqlite3"
    Path(DATABASES["default"]["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    DATABASES["default"]["OPTIONS"] = {
        # Readers never wait for the writer (WAL); a writer takes its lock at the start, so that two cannot deadlock.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # The server empties the log beside its requests; without one, whoever closes the last connection does.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;"
        "PRAGMA wal_autocheckpoint=65536;",
    }
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
else:
    from directdrivex.databases.postgresql.base import PatientConnection

    DATABASES["default"]["ENGINE"] = "directdrivex.databases.postgresql"
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        # Each request has a thread of its own under ASGI: the pool spares it a new connection.
        "pool": {
            "connection_class": PatientConnection,
            "min_size": 1,
            "max_size": 20,
            "timeout": 5,
            # The pool's own pauses grow; a new attempt, which whoever asks begins, has none behind it.
            "reconnect_timeout": 3,
        },
    }

REDIS_URL = env.redis_url("REDIS_URL")
_in_memory = {"BACKEND": "channels.layers.InMemoryChannelLayer"}
CHANNEL_LAYERS = {"default": env.redis_layer(REDIS_URL) if REDIS_URL else _in_memory}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# --- People -----------------------------------------------------------------------------------------------------

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # first: counts failures and locks out before a password is tried
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
# By address alone too: a fresh name for each try must not go on for ever.
AXES_LOCKOUT_PARAMETERS = ["ip_address", ["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "uploads.people.client_address"
AXES_USERNAME_CALLABLE = "uploads.people.client_username"
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # nor is a row written for each try of who is locked out
AXES_VERBOSE = False
AXES_LOCKOUT_CALLABLE = "uploads.accounts.locked_out"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "upload"

SESSION_ENGINE = "directdrivex.sessions"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
if PUBLIC_URL:
    CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https:")
VISITOR_COOKIE_NAME = "ddx_visitor"
VISITOR_COOKIE_AGE_SECONDS = 365 * 24 * 3600

# --- What a browser may do with our pages -------------------------------------------------------------------------

SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
        # hash-wasm compiles its WebAssembly module at run time.
        "script-src": [SELF, "'wasm-unsafe-eval'"],
        "worker-src": [SELF],
    },
}
# The API reads bodies of at most 2 MiB (wire.md); no page needs more.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * MIB
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]

# --- Words and times --------------------------------------------------------------------------------------------

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("hi", _("Hindi"))]
LOCALE_PATHS = [BASE_DIR / "locale", BASE_DIR / "locale" / "overrides"]
FORMAT_MODULE_PATH = ["directdrivex.formats"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"

# --- Static files -----------------------------------------------------------------------------------------------

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
# Found where they lie, so that a start needs no collectstatic.
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = False
# Asked for again each time (and answered 304): modules of two releases must never run together.
SERVESTATIC_MAX_AGE = 0

# --- Logs -------------------------------------------------------------------------------------------------------

LOG_LEVEL = env.choice("LOG_LEVEL", ("debug", "info", "warning", "error"), "info").upper()
LOGGING_CONFIG = "directdrivex.logs.configure"
LOGGING = {"level": LOG_LEVEL, "colours": sys.stderr.isatty(), "as_json": not DEVELOPMENT, "workers": WORKERS}

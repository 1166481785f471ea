"""The peer tuspyserver as its documentation shows it, under uvicorn. FOLDER is in the environment."""

import os

from fastapi import FastAPI
from tuspyserver import create_tus_router

application = FastAPI()
application.include_router(create_tus_router(prefix="files", files_dir=os.environ["FOLDER"], max_size=2**40))

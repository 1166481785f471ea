"""Files on Google Drive, through its resumable uploads and without a temporary copy (docs/drive.md)."""

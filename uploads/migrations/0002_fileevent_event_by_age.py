from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("uploads", "0001_initial"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="fileevent",
            index=models.Index(fields=["at"], name="event_by_age"),
        ),
    ]

"""What a new installation does not take: programs that run on a double click and that nobody sends on purpose.

Once, as a migration and not at each start: what an operator deletes stays deleted.
"""

from django.db import migrations

SEEDS = {
    "scr": "Windows screen saver, which is a program",
    "pif": "old shortcut, which Windows runs as a program",
    "cpl": "Windows control panel item, which is a program",
    "hta": "HTML application, a program in the clothes of a page",
    "vbs": "VBScript program",
    "vbe": "VBScript program, encoded",
    "jse": "JScript program, encoded",
    "wsf": "Windows script file",
    "wsh": "settings that start a Windows script",
    "lnk": "Windows shortcut, which can start anything",
    "scf": "Windows Explorer command, which can send passwords away when a folder is looked at",
    "msc": "Windows management console file, which can start anything",
    "application/hta": "HTML application",
    "application/x-ms-shortcut": "Windows shortcut",
}


def seed(apps, schema_editor):
    blocked_type = apps.get_model("quotas", "BlockedType")
    blocked_type.objects.bulk_create(
        [blocked_type(pattern=pattern, note=note) for pattern, note in SEEDS.items()], ignore_conflicts=True
    )


class Migration(migrations.Migration):

    dependencies = [("quotas", "0003_blocked_types")]
    operations = [migrations.RunPython(seed, migrations.RunPython.noop)]

"""Small real pictures, made by Pillow, by their kinds."""

import base64
import io
from typing import Any, Final

from PIL import Image

__all__ = ["PICTURES", "PNG", "drawn"]

_PICTURES: Final = {
    "png": (
        "image/png",
        "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACCAYAAACddGYaAAAAI0lEQVR4nGPwj5fiTGqe0X3R+fp3ppuFTMqf2SRbg6J/nAYAh8oL"
        "NMs+xcgAAAAASUVORK5CYII=",
    ),
    "png of a palette": (
        "image/png",
        "iVBORw0KGgoAAAANSUhEUgAAAAMAAAACAQMAAACnuvRZAAAAA1BMVEUAAACnej3aAAAADElEQVR4nGN4wMQAAAKoAOPMyScWAAAA"
        "AElFTkSuQmCC",
    ),
    "gif": ("image/gif", "R0lGODdhAwACAIAAAAAAAAAAACwAAAAAAwACAAAICQAJBBBQAMCAgAA7"),
    "moving gif": (
        "image/gif",
        "R0lGODlhAwACAIAAAAAAAAAAACH/C05FVFNDQVBFMi4wAwEAAAAh/gF4ACwAAAAAAwACAAAICQAJFBggAECAgAAh+QQBAAAAACwA"
        "AAAAAwACAAAICQALCCAAYACAgAA7",
    ),
    "webp": (
        "image/webp",
        "UklGRkYAAABXRUJQVlA4IDoAAACwAQCdASoDAAIAAUAmJQBOgCHe2LfgAP7Kpzun9DlafpzWrUf38Xub/UyHEbMhGK0zL7O1bH12AAAA",
    ),
    "lossless webp": (
        "image/webp",
        "UklGRkwAAABXRUJQVlA4TD8AAAAvAkAAAC9AkG3jMrzRnuAQz2HIpG3OSqi0iRkTPQdkASYUY5tRd0aR5DL/Mf0iVH9kXEBB2gYs"
        "7p6jRfQ/phsA",
    ),
    "moving webp": (
        "image/webp",
        "UklGRhoBAABXRUJQVlA4WAoAAAACAAAAAgAAAQAAQU5JTQYAAAAAAAAAAABBTk1GhAAAAAAAAAAAAAIAAAEAAAAAAAJWUDggbAAA"
        "AFABAJ0BKgMAAgABQCYlqAAFjAAA/usWxAn+7Hc02d+YoRP5P8zu+M43Xl0az6bf2j/pjj2W/tH/Tju+79o/6cd//8NfGZen/4N/"
        "/bz+0Opg+P/wb+8H/+197F9//k3/7zfsbjgff/5N+3QAAEFOTUZiAAAAAAAAAAAAAgAAAQAAAAAAAFZQOCBKAAAANAEAnQEqAwAC"
        "AAAAJiUAAJ+wAP7eqtOH/Zluox//b1EL8CvS2GkMrvMDh/fnH6Fx9C4/0og6r1pKo9Mq/meCPcW/R4Qf7UZAAAA=",
    ),
    "jpeg": (
        "image/jpeg",
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"
        "AQEBAQEBAQEBAQEBAQH/wAALCAACAAMBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUF"
        "BAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVW"
        "V1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi"
        "4+Tl5ufo6erx8vP09fb3+Pn6/90ABAAB/9oACAEBAAA/AP6qP+CQ1hY+MP8Agnt8CtZ8XWVp4p1eHV/jl4eh1XxHbQ63qUWgeD/2"
        "h/ix4R8JaHHfaml1dJo/hbwpoei+GPDmmLKLLRPD2j6XoumQWum6faW0P//Z",
    ),
    "cmyk jpeg": (
        "image/jpeg",
        "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAIBgYHBgUIBwcHCQkICgwUDQwLCwwZEhMPFB0aHx4dGhwcICQuJyAiLCMcHCg3KSwwMTQ0"
        "NB8nOT04MjwuMzQy/8AAFAgAAgADBEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIB"
        "AwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZH"
        "SElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV"
        "1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkASwAAPwDyrx9c3EHjnVYIZ5I4YZRHHGjkKiKoCqAOAAAAB2ArktRv"
        "ruCW3WG6njVrO2kISQgFmgRmPHcsSSe5JNd1oVhZzeHNKeW0gdzZQDc0YJ4jUDt6Vwnj22t4/Gl+iQRKqiIBQgAA8pK//9k=",
    ),
    "jpeg with notes": (
        "image/jpeg",
        "/9j/4AAQSkZJRgABAQAAAQABAAD/4QAoRXhpZgAATU0AKgAAAAgAAQEOAAIAAAAGAAAAGgAAAABoZWxsbwD//gAFY//Z/9sAQwAI"
        "BgYHBgUIBwcHCQkICgwUDQwLCwwZEhMPFB0aHx4dGhwcICQuJyAiLCMcHCg3KSwwMTQ0NB8nOT04MjwuMzQy/9sAQwEJCQkMCwwY"
        "DQ0YMiEcITIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIy/8AAEQgAAgADAwEiAAIRAQMR"
        "Af/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQy"
        "gZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeI"
        "iYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/EAB8BAAMB"
        "AQEBAQEBAQEAAAAAAAABAgMEBQYHCAkKC//EALURAAIBAgQEAwQHBQQEAAECdwABAgMRBAUhMQYSQVEHYXETIjKBCBRCkaGxwQkj"
        "M1LwFWJy0QoWJDThJfEXGBkaJicoKSo1Njc4OTpDREVGR0hJSlNUVVZXWFlaY2RlZmdoaWpzdHV2d3h5eoKDhIWGh4iJipKTlJWW"
        "l5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uLj5OXm5+jp6vLz9PX29/j5+v/aAAwDAQACEQMRAD8AzGRZ"
        "BHI6hpJI0kdiMlmZQWYnuSSST3Jooor7nL/90pf4Y/kj6+OyP//Z",
    ),
}

# What each is, its media type and its bytes.
PICTURES: Final = {name: (kind, base64.b64decode(data)) for name, (kind, data) in _PICTURES.items()}
PNG: Final = PICTURES["png"][1]


def drawn(mode: str, size: tuple[int, int], form: str, *, noise: bool = False, **options: Any) -> bytes:
    """A new picture of one colour, or of noise, as a file."""
    drawing = Image.effect_noise(size, 100).convert(mode) if noise else Image.new(mode, size, "teal")
    file = io.BytesIO()
    drawing.save(file, form, **options)
    return file.getvalue()

//! An MQTT broker inside the program.

//! One connection, whatever MQTT version it speaks.

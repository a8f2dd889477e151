#include "mongoose/loop/limits.h"

const struct mg_limits mg_limits_default = {
    .max_uri = 8192,
    .max_header = 8192,
    .max_head = 32768,
    .max_headers = 100,
    .max_body = 8u << 20,
    .max_pipeline = 16,
    .max_requests = 10000,
    .header_timeout = 10000,
    .body_timeout = 30000,
    .body_grace = 10000,
    .min_rate = 500,
    .idle_timeout = 75000,
    .send_timeout = 30000,
    .connect_timeout = 10000,
    .max_recv = MG_MAX_RECV_SIZE,
    .send_high = 4u << 20,
    .send_low = 1u << 20,
    .send_max = 64u << 20,
    .max_connections = 0,
    .max_per_address = 0,
};

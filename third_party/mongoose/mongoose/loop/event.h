/* event.h - what handlers are told, and what ev_data then points to. The order is Mongoose's. */
#pragma once
#include "mongoose/config.h"

MG_BEGIN_DECLS

struct mg_connection;
typedef void (*mg_event_handler_t)(struct mg_connection *c, int ev, void *ev_data);

enum {
  MG_EV_ERROR,     /* Something failed; the connection is closed next   char *text (but see mg_ask) */
  MG_EV_OPEN,      /* Connection created                                NULL */
  MG_EV_POLL,      /* Sweep, for connections that ask (MG_ASK_POLL)     uint64_t *uptime_ms */
  MG_EV_RESOLVE,   /* Host name is resolved                             struct mg_resolved *, NULL for Unix sockets */
  MG_EV_CONNECT,   /* Connection established                            NULL */
  MG_EV_ACCEPT,    /* Connection accepted                               NULL */
  MG_EV_TLS_HS,    /* TLS handshake succeeded                           NULL */
  MG_EV_READ,      /* Data received                                     long *bytes */
  MG_EV_WRITE,     /* Data written, for those who ask (MG_ASK_WRITE)    long *bytes */
  MG_EV_CLOSE,     /* Connection closed, last event                     NULL */
  MG_EV_HTTP_HDRS, /* Head received, once                               struct mg_http_message * */
  MG_EV_HTTP_MSG,  /* Full request or response received                 struct mg_http_message * */
  MG_EV_WS_OPEN,   /* WebSocket handshake done                          struct mg_http_message * */
  MG_EV_WS_MSG,    /* WebSocket message, text or binary                 struct mg_ws_message * */
  MG_EV_WS_CTL,    /* WebSocket control frame                           struct mg_ws_message * */
  MG_EV_MQTT_CMD,  /* MQTT low-level command                            struct mg_mqtt_message * */
  MG_EV_MQTT_MSG,  /* MQTT PUBLISH received                             struct mg_mqtt_message * */
  MG_EV_MQTT_OPEN, /* MQTT CONNACK received                             int *code */
  MG_EV_SNTP_TIME, /* SNTP time received                                uint64_t *epoch_ms */
  MG_EV_WAKEUP,    /* mg_wakeup() data received                         struct mg_str * */
  MG_EV_MDNS_REQ,  /* mDNS request                                      struct mg_mdns_req * */
  MG_EV_MDNS_RESP, /* mDNS response                                     struct mg_mdns_resp * */
  MG_EV_MODBUS_REQ, /* reserved */
  MG_EV_USER       /* first number free for applications */
};

/* Events that cost something to produce go only to connections whose c->ask has the bit. Connections take
 * mgr->ask when they are created; mg_mgr_init sets both bits, as Mongoose programs expect. */
enum { MG_ASK_POLL = 1, MG_ASK_WRITE = 2 };

MG_END_DECLS

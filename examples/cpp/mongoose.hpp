// mongoose.hpp - a manager as a C++ object: closes itself, takes lambdas, and lets no exception into the C loop.
#pragma once
#include <cstdio>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "mongoose.h"

namespace web {

inline std::string_view view(const struct mg_str &s) { return {s.buf, s.len}; }

class Loop {
 public:
  using Handler = std::function<void(mg_connection &, mg_http_message &)>;

  Loop() { mg_mgr_init(&mgr_); }
  ~Loop() { mg_mgr_free(&mgr_); }
  Loop(const Loop &) = delete;
  Loop &operator=(const Loop &) = delete;

  // Serve `url`; returns the port.
  int serve(const std::string &url, Handler handler) {
    handlers_.push_back(std::make_unique<Handler>(std::move(handler)));
    mg_connection *site = mg_http_listen(&mgr_, url.c_str(), on_event, handlers_.back().get());
    if (site == nullptr) throw std::runtime_error(url + ": " + mgr_.errmsg);
    return mg_ntohs(site->loc.port);
  }
  void poll(int ms) { mg_mgr_poll(&mgr_, ms); }

 private:
  // The barrier: C frames are below, so an exception ends here, and the client is told.
  static void on_event(mg_connection *c, int ev, void *data) noexcept {
    if (ev != MG_EV_HTTP_MSG) return;
    try {
      (*static_cast<Handler *>(c->fn_data))(*c, *static_cast<mg_http_message *>(data));
    } catch (const std::exception &e) {
      std::fprintf(stderr, "handler: %s\n", e.what());
      mg_http_reply(c, 500, "", "Internal Server Error\n");
    }
  }

  mg_mgr mgr_{};
  std::vector<std::unique_ptr<Handler>> handlers_;
};

inline void reply(mg_connection &c, int status, std::string_view body) {
  mg_http_reply_n(&c, status, mg_str("Content-Type: text/plain\r\n"), mg_str_n(body.data(), body.size()));
}

}  // namespace web

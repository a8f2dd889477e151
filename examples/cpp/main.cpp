// Serve from C++ on the library that the Python package carries: main [port]; 0 takes a free one.
// The wrapper in mongoose.hpp closes what it opened and stops exceptions before the C loop.
#include <atomic>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "mongoose.hpp"

namespace {
std::atomic<bool> stopped{false};
}

int main(int argc, char **argv) try {
  std::signal(SIGTERM, [](int) { stopped = true; });
  std::signal(SIGINT, [](int) { stopped = true; });

  web::Loop loop;
  int requests = 0;
  int port = loop.serve(std::string("http://127.0.0.1:") + (argc > 1 ? argv[1] : "8000"),
                        [&](mg_connection &c, mg_http_message &request) {
                          requests++;
                          if (web::view(request.uri) == "/throw") throw std::runtime_error("thrown on purpose");
                          web::reply(c, 200, "Hello from C++, request " + std::to_string(requests) + "\n");
                        });
  std::printf("http://127.0.0.1:%d\n", port);
  std::fflush(stdout);
  while (!stopped) loop.poll(1000);
} catch (const std::exception &e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

#include <green/workers/worker.hpp>

int main(int argc, char** argv) {
    green::workers::Worker worker{argc, argv};  // its sockets and queues come from the supervisor
    green::HttpServer web{
        worker.socket("web"), [&](const auto& request, auto& response) {
            green::sleep(std::chrono::milliseconds(20));  // only this request waits
            response.text("hello " + std::string(request.path()) + " from process " +
                          std::to_string(worker.slot()) + "\n");
        }};
    return worker.serve(web);  // ready when it listens; SIGTERM: drain; returns the exit code
}

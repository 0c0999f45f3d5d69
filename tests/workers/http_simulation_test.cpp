// The HTTP server as it is, on simulated networks.

#include <string>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/http.hpp>
#include <green/log.hpp>
#include <green/simulation.hpp>

#include "support/run_green.hpp"
#include "workers/http_client.hpp"

using namespace green;

TEST_CASE("http server: over any network each client gets its own answers, whole and in order",
          "[workers][http][sim]") {
    constexpr int clients = 4;
    constexpr int requests = 5;
    const auto echo = [](const HttpRequest& request, HttpResponse& response) {
        yield();
        std::string body{request.path()};
        while (body.size() < 5000) body += body;
        response.text(body);
    };
    log::set_level(log::Level::off);
    const std::uint64_t first = tests::seed();
    for (std::uint64_t seed = first; seed < first + 100; ++seed) {
        INFO("GREENSUP_SEED=" << seed);
        Simulation::Conditions conditions = Simulation::Conditions::of(seed);
        conditions.most_delay =
            std::min<Duration>(conditions.most_delay, std::chrono::milliseconds(50));
        Simulation world{seed, conditions};
        world.run([&] {
            HttpServer server{"10.0.0.1:80", echo};
            server.start();
            int answered = 0;
            Group all;
            for (int number = 0; number < clients; ++number) {
                all.spawn([&, number] {
                    tests::HttpClient client{server.endpoint()};
                    for (int i = 0; i < requests; ++i) {
                        const std::string path =
                            "/" + std::to_string(number) + "/" + std::to_string(i);
                        const tests::Answer answer = client.get(path);
                        std::string wanted = path;
                        while (wanted.size() < 5000) wanted += wanted;
                        answered += answer.status == 200 && answer.body == wanted;
                    }
                });
            }
            all.join();
            server.close();
            REQUIRE(answered == clients * requests);
        });
    }
    log::set_level(log::Level::info);
}

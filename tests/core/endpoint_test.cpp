#include <stdexcept>
#include <string>

#include <catch2/catch.hpp>

#include <green/endpoint.hpp>

using green::Endpoint;

TEST_CASE("endpoint: every way to write an address is read, and its text reads back as the same",
          "[core][net]") {
    const auto [text, canonical, family, port] =
        GENERATE(table<std::string, std::string, int, int>({
            {"tcp://127.0.0.1:8080", "tcp://127.0.0.1:8080", AF_INET, 8080},
            {"127.0.0.1:8080", "tcp://127.0.0.1:8080", AF_INET, 8080},
            {"localhost:80", "tcp://127.0.0.1:80", AF_INET, 80},
            {"tcp://localhost:0", "tcp://127.0.0.1:0", AF_INET, 0},
            {":65535", "tcp://0.0.0.0:65535", AF_INET, 65535},
            {"[::1]:80", "tcp://[::1]:80", AF_INET6, 80},
            {"tcp://[0:0::0001]:80", "tcp://[::1]:80", AF_INET6, 80},
            {"[fe80::1%3]:80", "tcp://[fe80::1%3]:80", AF_INET6, 80},
            {"unix:/run/it.sock", "unix:/run/it.sock", AF_UNIX, 0},
            {"unix:///run/it.sock", "unix:/run/it.sock", AF_UNIX, 0},
            {"unix:here.sock", "unix:here.sock", AF_UNIX, 0},
            {"unix:@name", "unix:@name", AF_UNIX, 0},
        }));
    const Endpoint endpoint = Endpoint::parse(text);
    CHECK(endpoint.text() == canonical);
    CHECK(endpoint.family() == family);
    CHECK(endpoint.port() == port);
    CHECK(Endpoint::parse(endpoint.text()) == endpoint);
    CHECK(Endpoint::from(endpoint.address(), endpoint.size()) == endpoint);
}

TEST_CASE("endpoint: what cannot be read is quoted together with what is expected", "[core][net]") {
    const auto [text, hint] = GENERATE(table<std::string, std::string>({
        {"", "port is missing"},
        {"127.0.0.1", "port is missing"},
        {"127.0.0.1:", "from 0 to 65535"},
        {"127.0.0.1:65536", "from 0 to 65535"},
        {"127.0.0.1:-1", "from 0 to 65535"},
        {"127.0.0.1:+1", "from 0 to 65535"},
        {"127.0.0.1:80x", "from 0 to 65535"},
        {"127.0.0.1:80 ", "from 0 to 65535"},
        {"300.0.0.1:80", "no numeric address"},
        {"example.com:80", "names are not looked up"},
        {"::1:80", "written as [::1]:8080"},
        {"[::1]", "written as [::1]:8080"},
        {"[::1:80", "written as [::1]:8080"},
        {"[::g]:80", "no IPv6 address"},
        {"[fe80::1%eth0]:80", "interface's number"},
        {"udp://127.0.0.1:80", "scheme must be"},
        {"/run/it.sock", "unix:/run/it.sock"},
        {"unix:", "path is missing"},
        {"unix:@", "path is missing"},
        {"unix:/" + std::string(107, 'x'), "at the most 107 bytes"},
        {"unix:@" + std::string(108, 'x'), "at the most 107 bytes"},
    }));
    try {
        (void)Endpoint::parse(text);
        FAIL("was accepted: " << text);
    } catch (const std::invalid_argument& error) {
        const std::string said = error.what();
        CHECK(said.find('"' + text + '"') != said.npos);
        CHECK(said.find(hint) != said.npos);
    }
}

TEST_CASE("endpoint: the longest path and the longest abstract name fit", "[core][net]") {
    const std::string path = "/" + std::string(106, 'x');
    CHECK(Endpoint::parse("unix:" + path).path() == path);
    const Endpoint name = Endpoint::parse("unix:@" + std::string(107, 'x'));
    CHECK(name.text().size() == 5 + 108);
    CHECK(name.path().empty());
    CHECK(name.size() == sizeof(sockaddr_un));
}

TEST_CASE("endpoint: a Unix socket without a name has an empty one", "[core][net]") {
    sockaddr_un nameless{};
    nameless.sun_family = AF_UNIX;
    const Endpoint endpoint =
        Endpoint::from(reinterpret_cast<sockaddr*>(&nameless), sizeof(sa_family_t));
    CHECK(endpoint.text() == "unix:");
    CHECK(endpoint.path().empty());
}

TEST_CASE("endpoint: addresses of other families and cut ones are refused", "[core][net]") {
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    CHECK_THROWS_AS(Endpoint::from(reinterpret_cast<sockaddr*>(&v4), 4), std::invalid_argument);
    v4.sin_family = AF_PACKET;
    CHECK_THROWS_AS(Endpoint::from(reinterpret_cast<sockaddr*>(&v4), sizeof v4),
                    std::invalid_argument);
    CHECK_FALSE(Endpoint::parse("127.0.0.1:1") == Endpoint::parse("127.0.0.1:2"));
    CHECK_FALSE(Endpoint::parse("127.0.0.1:1") == Endpoint::parse("unix:x"));
    CHECK_FALSE(Endpoint::parse("[::1]:1") == Endpoint::parse("[::2]:1"));
}

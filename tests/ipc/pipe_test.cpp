#include <csignal>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include <green/green.hpp>
#include <green/ipc/pipe.hpp>

#include "document.capnp.h"
#include "support/faults.hpp"
#include "support/run_green.hpp"

using namespace std::chrono_literals;
using tests::run_green_for_real;
namespace ipc = green::ipc;

TEST_CASE("pipe: messages go one way, in order, and the end follows them", "[ipc][pipe]") {
    run_green_for_real([] {
        auto [reader, writer] = ipc::pipe<Document>();
        for (const char* name : {"a", "b"}) {
            CHECK(writer.put([&](Document::Builder document) { document.setName(name); }));
        }
        writer.close();
        CHECK(reader.get()->getName() == "a");
        CHECK((*reader.next())->getName() == "b");
        CHECK_FALSE(reader.next().has_value());
        CHECK(reader.at_end());
        CHECK_THROWS_AS(writer.put([](Document::Builder) {}), green::Closed);
    });
}

TEST_CASE("pipe: the two directions of a duplex one do not mix", "[ipc][pipe]") {
    run_green_for_real([] {
        const auto before = tests::open_descriptors();
        {
            auto [client, server] = ipc::duplex_pipe<Document, Other>();
            auto answering = green::spawn([&end = server] {
                for (auto question : end) {
                    const auto size = question->getName().size();
                    end.put([&](Other::Builder answer) { answer.setNumber(size); });
                }
            });
            for (const char* name : {"one", "three"}) {
                client.put([&](Document::Builder document) { document.setName(name); });
                CHECK(client.get()->getNumber() == std::string(name).size());
            }
            CHECK_FALSE(client.get_for(10ms).has_value());
            CHECK_THROWS_AS(client.get(1ms), green::Timeout);
            CHECK_FALSE(client.at_end());
            client.close();
            CHECK(answering.join());
        }
        CHECK(tests::open_descriptors() == before);
    });
}

TEST_CASE("pipe: another process is on the other end, and its death is an end", "[ipc][pipe]") {
    auto [ours, theirs] = ipc::duplex_pipe<Document, Document>();
    const pid_t child = ::fork();  // neither side has a hub yet
    REQUIRE(child >= 0);
    if (child == 0) {
        ours.shutdown();
        ipc::PipeEnd<Document, Document> mine{ipc::FrameStream::unpack(std::move(theirs).pack())};
        while (auto message = mine.next()) {
            if ((*message)->getName() == "die") ::raise(SIGKILL);
            mine.put([&](Document::Builder echo) { echo.setBody((*message)->getBody()); });
        }
        ::_exit(1);
    }
    theirs.shutdown();
    run_green_for_real([&end = ours, child] {
        const std::string body(3'000'000, 'x');
        end.put([&](Document::Builder document) { document.setBody(ipc::bytes(body)); });
        const auto echo = end.get();
        CHECK(ipc::view(echo->getBody()) == body);
        end.put([](Document::Builder document) { document.setName("die"); });
        CHECK_THROWS_AS(end.get(), green::Closed);
        CHECK_FALSE(end.next().has_value());
        CHECK(end.at_end());
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        end.close();
    });
}

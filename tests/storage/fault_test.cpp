// The fault injector strikes where and when it is told to, and the recorder keeps what was done.
#include "storage/fault.hpp"

#include <gtest/gtest.h>

#include "storage/memory.hpp"
#include "storage/recorder.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::storage {
namespace {

using tests::pattern;
using Operation = Fault::Operation;
using Effect = Fault::Effect;

TEST(FaultDevice, FailsOnlyTheBytesOfItsRange) {
  MemoryDevice memory(pattern(4096, 1));
  const FaultDevice device(memory, {{.begin = 1000, .end = 2000, .persistent = true, .os_error = ENODATA}});
  std::vector<std::byte> a(512), b(1500), c(4096);
  std::vector<ReadRequest> batch{
      {.offset = 488, .into = a}, {.offset = 1500, .into = b}, {.offset = 3000, .into = c}};
  device.read(batch);
  EXPECT_EQ(batch[0].os_error, 0);
  EXPECT_EQ(batch[1].os_error, ENODATA);
  EXPECT_EQ(batch[1].bad_begin, 0);
  EXPECT_EQ(batch[1].bad_end, 500);
  EXPECT_TRUE(base::all_zero(base::ConstBytes(b).first(500)));
  EXPECT_EQ(b[500], memory.bytes()[2000]);
  EXPECT_EQ(batch[2].os_error, 0);
  EXPECT_EQ(batch[2].valid, 1096);
  EXPECT_EQ(device.strikes(), 1);
}

TEST(FaultDevice, StrikesTheNthAccessOnceOrFromThenOn) {
  MemoryDevice memory(pattern(4096, 1));
  std::vector<std::byte> into(16);
  const auto errors = [&](const FaultDevice& device) {
    std::string seen;
    for (int i = 0; i < 5; ++i) seen += device.Device::read(100, into).os_error != 0 ? 'x' : '.';
    return seen;
  };
  EXPECT_EQ(errors(FaultDevice(memory, {{.nth = 3}})), "..x..");
  EXPECT_EQ(errors(FaultDevice(memory, {{.nth = 3, .persistent = true}})), "..xxx");
  EXPECT_EQ(errors(FaultDevice(memory, {{.begin = 116, .persistent = true}})), ".....");
  EXPECT_EQ(errors(FaultDevice(memory, {{.operation = Operation::write, .persistent = true}})), ".....");
  EXPECT_EQ(errors(FaultDevice(memory, {{.nth = 1}, {.nth = 4}})), "x..x.");
}

TEST(FaultDevice, AFullDiskTakesWhatFits) {
  MemoryDevice memory(std::vector<std::byte>(100));
  FaultDevice device(memory,
                     {{.operation = Operation::write, .begin = 150, .persistent = true, .os_error = ENOSPC}});
  EXPECT_TRUE(device.write(0, pattern(150, 1)));
  const auto result = device.write(100, pattern(100, 2));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().os_error, ENOSPC);
  EXPECT_EQ(result.error().kind, base::ErrorKind::io);
  EXPECT_NE(result.error().message.find("No space left on device: free some"), std::string::npos);
  EXPECT_EQ(device.size(), 150);
  auto expected = pattern(150, 1);
  std::ranges::copy(base::ConstBytes(pattern(100, 2)).first(50), expected.begin() + 100);
  EXPECT_EQ(memory.bytes(), expected);
}

TEST(FaultDevice, CutsSayNothing) {
  MemoryDevice memory(pattern(100, 1));
  FaultDevice device(memory, {{.operation = Operation::read, .begin = 40, .effect = Effect::cut},
                              {.operation = Operation::write, .begin = 10, .effect = Effect::cut},
                              {.operation = Operation::resize, .effect = Effect::cut},
                              {.operation = Operation::flush, .effect = Effect::cut}});
  std::vector<std::byte> into(100);
  const auto request = device.Device::read(0, into);
  EXPECT_EQ(request.valid, 40);
  EXPECT_EQ(request.os_error, 0);
  EXPECT_TRUE(base::all_zero(base::ConstBytes(into).subspan(40)));

  EXPECT_TRUE(device.write(0, pattern(100, 2)));
  EXPECT_EQ(memory.bytes()[9], pattern(100, 2)[9]);
  EXPECT_EQ(memory.bytes()[10], pattern(100, 1)[10]);
  EXPECT_TRUE(device.resize(7));
  EXPECT_EQ(memory.size(), 100);
  EXPECT_TRUE(device.flush());
  EXPECT_EQ(device.strikes(), 4);
}

TEST(Recorder, KeepsWhatSucceededInOrder) {
  MemoryDevice memory;
  FaultDevice faulty(memory,
                     {{.operation = Operation::write, .nth = 2}, {.operation = Operation::flush, .nth = 2}});
  Recorder recorder(faulty);
  EXPECT_TRUE(recorder.write(10, pattern(5, 1)));
  EXPECT_FALSE(recorder.write(20, pattern(5, 2)));
  EXPECT_TRUE(recorder.flush());
  EXPECT_TRUE(recorder.resize(12));
  EXPECT_FALSE(recorder.flush());
  EXPECT_TRUE(recorder.write(0, pattern(2, 3)));
  const std::vector<Event> expected{{Event::Kind::write, 10, pattern(5, 1)},
                                    {Event::Kind::flush, 0, {}},
                                    {Event::Kind::resize, 12, {}},
                                    {Event::Kind::write, 0, pattern(2, 3)}};
  EXPECT_EQ(recorder.events(), expected);

  MemoryDevice replayed;
  for (const auto& event : recorder.events()) {
    if (event.kind == Event::Kind::flush) continue;
    ASSERT_TRUE(event.kind == Event::Kind::write ? replayed.write(event.position, event.bytes)
                                                 : replayed.resize(event.position));
  }
  EXPECT_EQ(replayed.bytes(), memory.bytes());
}

}  // namespace
}  // namespace cowvet::storage

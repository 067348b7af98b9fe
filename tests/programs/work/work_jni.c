/* Purpose: native methods of Work.java: blocks of malloc, used and freed in whatever thread of the machine calls. */
#include <jni.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

JNIEXPORT jlong JNICALL
Java_Work_take(JNIEnv *env, jclass class, jint size, jint seed)
{
	void *block = malloc((size_t)size);

	(void)env;
	(void)class;
	if (block)
		memset(block, seed, (size_t)size);
	return (jlong)(intptr_t)block;
}

JNIEXPORT jint JNICALL
Java_Work_give(JNIEnv *env, jclass class, jlong address, jint size, jint seed)
{
	unsigned char *block = (unsigned char *)(intptr_t)address;
	jint right = 0;

	(void)env;
	(void)class;
	for (jint i = 0; i < size; i++)
		right += block[i] == (unsigned char)seed;
	free(block);
	return right == size;
}

JNIEXPORT jobject JNICALL
Java_Work_wrap(JNIEnv *env, jclass class, jlong address, jint size)
{
	(void)class;
	return (*env)->NewDirectByteBuffer(env, (void *)(intptr_t)address, size);
}

JNIEXPORT jstring JNICALL
Java_Work_twice(JNIEnv *env, jclass class, jstring text)
{
	const char *once = (*env)->GetStringUTFChars(env, text, NULL);
	size_t length = strlen(once);
	char *both = malloc(2 * length + 1);
	jstring result;

	(void)class;
	memcpy(both, once, length);
	memcpy(both + length, once, length + 1);
	(*env)->ReleaseStringUTFChars(env, text, once);
	result = (*env)->NewStringUTF(env, both);
	free(both);
	return result;
}
